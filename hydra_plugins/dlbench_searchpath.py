"""Where Hydra looks for this project's configurations; Hydra finds such plugins only in packages of this name."""

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin


class OwnFolders(SearchPathPlugin):
    """Behind the suite's configurations those of the command line's own folders, then those of plugins."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """See Hydra. Other applications, which load this plugin too, keep their own."""
        from dlbench import paths

        suite = str(paths.conf())
        if any(str(element.path).removeprefix("file://") == suite for element in search_path.get_path()):
            from dlbench.cli import folders

            for folder in folders()[1:]:
                search_path.append("dlbench", f"file://{folder}")
