"""``/resources`` of the admin API."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from watchword.asgi.admin_models import NewResource, ResourceChange
from watchword.asgi.admin_requests import DEFAULT_LIMIT, Context, Cursor, Expected, Limit, PageCursors, problems
from watchword.asgi.admin_views import ResourcePage, ResourceView, answer, resource_view
from watchword.operations import resources
from watchword.protocol import names

QUERY = "resources"

router = APIRouter(prefix="/resources", tags=["resources"])


@router.get("", response_model=ResourcePage)
async def list_resources(
    context: Context, cursors: PageCursors, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
) -> Response:
    """List resources by name."""
    command = resources.ListResources(after=cursors.open(QUERY, cursor), limit=limit)
    page = await resources.list_resources(context, command)
    following = cursors.issue(QUERY, page.items[-1].name) if page.has_more else None
    return answer(ResourcePage(items=[resource_view(one) for one in page.items], next_cursor=following))


@router.post("", status_code=201, response_model=ResourceView, responses=problems(409, 413, 415, 422))
async def create_resource(context: Context, body: NewResource) -> Response:
    """Register a protected API and its scopes."""
    resource = await resources.create_resource(context, body.to_command())
    location = f"{context.issuer}{names.PATH_ADMIN}/resources/{resource.name}"
    return answer(resource_view(resource), status=201, version=resource.version, location=location)


@router.get("/{name}", response_model=ResourceView, responses=problems(404))
async def show_resource(context: Context, name: str) -> Response:
    """Show one resource."""
    resource = await resources.show_resource(context, resources.ShowResource(name=name))
    return answer(resource_view(resource), version=resource.version)


@router.patch("/{name}", response_model=ResourceView, responses=problems(404, 409, 412, 413, 415, 422))
async def update_resource(context: Context, name: str, body: ResourceChange, expected: Expected) -> Response:
    """Change a resource. A scope that a permission uses cannot be removed."""
    resource = await resources.update_resource(context, body.to_command(name, expected))
    return answer(resource_view(resource), version=resource.version)


@router.delete("/{name}", status_code=204, response_class=Response, responses=problems(404, 409, 412))
async def delete_resource(context: Context, name: str, expected: Expected) -> Response:
    """Remove a resource that no permission names."""
    await resources.delete_resource(context, resources.DeleteResource(name=name, expected=expected))
    return Response(status_code=204)
