"""The sections of `release.yaml`, and the forms that their answers have."""
