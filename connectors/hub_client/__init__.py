"""What an agency runs to exchange through the hub: seal, send, fetch, open, acknowledge. And `hub-partner`."""
