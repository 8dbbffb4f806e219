"""The record: the only importer of SQLAlchemy."""
