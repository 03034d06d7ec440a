"""What a release says, in French and English, from evidence and answers alone."""
