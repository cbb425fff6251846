"""The documentation as a site: `make docs` builds it into site/."""

project = "dlbench"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = "dlbench"
exclude_patterns = ["report/none"]
myst_heading_anchors = 4
default_role = "code"
# The report sets its own anchors, and its claims are headings of the fourth level; tests check the links of all pages.
suppress_warnings = ["myst.header", "myst.xref_missing", "misc.highlighting_failure"]
napoleon_use_ivar = True
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "description"
