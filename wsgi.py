"""The entry for gunicorn: settings from the file that ACCORD_CONFIG names, else config/hub.toml."""

from hub.bootstrap import Installation

app = Installation().create_wsgi_app()
