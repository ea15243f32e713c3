"""eyas finds small objects in images and recognises things by looking them up in a gallery."""
