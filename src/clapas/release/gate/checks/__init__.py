"""The checks, one a file; `all_checks` lists them."""
