"""The resource side."""  # noqa: A005 -- mirrors src/watchword/resource
