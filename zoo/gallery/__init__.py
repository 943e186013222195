"""The gallery: a page of each variant and of each kind, with what ledgers say that it does."""
