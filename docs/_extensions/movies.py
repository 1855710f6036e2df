"""Movies that an example writes beside itself are shown on its page."""

from pathlib import Path
from typing import Any

from sphinx_gallery.scrapers import figure_rst


def movies(block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """A scraper of sphinx-gallery: each new .gif becomes an image of the page."""
    folder, paths = Path(block_vars["src_file"]).parent, block_vars["image_path_iterator"]
    shown = []
    for movie in sorted(folder.glob("*.gif")):
        target = Path(next(paths)).with_suffix(".gif")
        shown.append(str(movie.replace(target)))
    return figure_rst(shown, gallery_conf["src_dir"])
