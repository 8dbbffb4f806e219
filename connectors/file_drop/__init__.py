"""File drop: an agency's simplest way in. A folder of outgoing JSON, a folder of incoming, receipts beside."""
