"""A release is brought to the public: onto a Hub, and into an institution's storage."""
