"""Every refusal code has a meaning, one HTTP status, and a line in docs/problems.md."""

from pathlib import Path

from hub.domain.refusals import MEANINGS, RefusalCode
from hub.http_api.problem_docs import problem_page
from hub.http_api.problems import STATUSES

PAGE = Path(__file__).parents[2] / "docs" / "problems.md"


def test_every_refusal_code_has_a_meaning() -> None:
    assert set(MEANINGS) == set(RefusalCode)


def test_every_refusal_code_has_one_http_status() -> None:
    assert set(STATUSES) == set(RefusalCode)
    assert {status for status in STATUSES.values() if not 400 <= status <= 503} == set()


def test_the_page_of_problems_is_what_the_table_gives() -> None:
    assert PAGE.read_text(encoding="utf-8") == problem_page(), "python -m hub.http_api.problem_docs > docs/problems.md"
