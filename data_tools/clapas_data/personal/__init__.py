"""Personal and health data: found by form, checksum and context, and replaced.

One file a family of detectors; each is a function `text -> findings` that first looks for a cheap anchor ('@', a digit,
a capital title), because most text has nothing of it. `find` puts them together, `replace` writes placeholders or
surrogates. Kinds, limits and measured figures: docs/personal-data.md.
"""
