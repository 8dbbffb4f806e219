"""The vocabulary of the hub: frozen dataclasses and enums, standard library only."""
