"""What shows a study: tables, data, plots, and one page with all of it."""
