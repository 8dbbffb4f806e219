"""Hostile bytes to domain objects and back: the only importer of the schema and markup libraries."""
