"""SavedModels for servers: photos in, labels at the photos' size out."""
