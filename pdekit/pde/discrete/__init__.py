"""An equation on a grid."""
