"""What people read: tables of runs."""
