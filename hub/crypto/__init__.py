"""Signatures, sealing, key files, notes and the Merkle log: the only importer of `cryptography`."""
