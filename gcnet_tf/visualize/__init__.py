"""Pictures for people: overlays, sheets, attention maps, videos."""
