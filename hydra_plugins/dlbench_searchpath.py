"""Where Hydra looks for this project's configurations; Hydra finds such plugins only in packages of this name."""

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin


class OwnFolders(SearchPathPlugin):
    """Behind the suite's configurations those of the command line's own folders, then those of plugins."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """See Hydra. Other applications, which load this plugin too, keep their own."""
        from dlbench.cli import folders

        suite, *others = map(str, folders())
        if any(str(element.path).removeprefix("file://") == suite for element in search_path.get_path()):
            for folder in others:
                search_path.append("dlbench", f"file://{folder}")
