"""What lasts: a store's changes on disk, and how they come back."""
