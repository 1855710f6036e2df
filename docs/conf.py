"""The site: ``python -m sphinx -W -b html docs build/site`` (needs the extra ``docs``).

Pages are the Markdown files of this folder. Examples are run at each build (sphinx-gallery); the
pages of studies come from ``figures/*.json``, those of the reference from docstrings.
"""

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_extensions"), str(HERE.parent)]
os.environ.setdefault("MPLBACKEND", "agg")

import pdekit

project, author, release = "pdekit", "The pdekit authors", pdekit.__version__
copyright = "The pdekit authors"
extensions = [
    "myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.viewcode",
    "sphinx_gallery.gen_gallery", "sphinx_copybutton",
    "repository", "plain_docstrings", "study_pages", "reference_pages",
]  # fmt: skip
exclude_patterns = ["_build", "_extensions", "examples", "**/GALLERY_HEADER.md"]
suppress_warnings = ["config.cache"]  # sphinx-gallery's order is a function
nitpicky = False

# --- Markdown -------------------------------------------------------------------------------------
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence", "deflist"]

# --- the reference --------------------------------------------------------------------------------
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autosummary_generate = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
add_module_names = False
toc_object_entries = False

# --- the gallery ----------------------------------------------------------------------------------
sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",
    "within_subsection_order": "FileNameSortKey",
    "image_scrapers": ("matplotlib", "movies.movies"),
    "abort_on_example_error": True,
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_signature": False,
    "min_reported_time": 1,
    "reference_url": {"pdekit": None},
    "doc_module": ("pdekit",),
    "backreferences_dir": "reference/uses",
}
copybutton_exclude = ".linenos, .gp, .go"

# --- looks ----------------------------------------------------------------------------------------
html_theme = "pydata_sphinx_theme"
html_title = "pdekit"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_theme_options = {
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "header_links_before_dropdown": 7,
    "show_prev_next": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
}
