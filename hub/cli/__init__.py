"""`hub ...`: the commands of operators and auditors."""
