"""Portraits as puppets: a mesh that is posed by named motions, rasterised and painted. Needs torch and numpy."""
