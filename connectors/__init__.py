"""What runs at an agency's edge: separate processes that speak HTTPS to the hub."""
