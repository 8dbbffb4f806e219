"""The machine interface: read the request, call one service, render."""
