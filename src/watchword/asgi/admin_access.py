"""``/agents/{ref}/credentials`` and ``/agents/{ref}/permissions`` of the admin API."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from watchword.asgi.admin_agents import Ref
from watchword.asgi.admin_models import NewCredential, NewPermission
from watchword.asgi.admin_requests import Context, problems
from watchword.asgi.admin_rotation import Rotation
from watchword.asgi.admin_views import (
    CredentialList,
    CredentialView,
    NewCredentialView,
    PermissionList,
    PermissionView,
    RotatedCredentialView,
    answer,
    credential_view,
    new_credential_view,
    permission_view,
    rotation_view,
)
from watchword.operations import credentials, permissions
from watchword.operations.credential_rotation import rotate_credential as rotate

router = APIRouter(prefix="/agents/{ref}")


@router.get("/credentials", tags=["credentials"], response_model=CredentialList, responses=problems(404))
async def list_credentials(context: Context, ref: Ref) -> Response:
    """List an agent's credentials, revoked ones too. Secrets are never shown again."""
    listed = await credentials.list_credentials(context, credentials.ListCredentials(ref=ref))
    return answer(CredentialList(items=[credential_view(one) for one in listed]))


@router.post(
    "/credentials",
    tags=["credentials"],
    status_code=201,
    response_model=NewCredentialView,
    responses=problems(404, 409, 413, 415, 422),
)
async def create_credential(context: Context, ref: Ref, body: NewCredential) -> Response:
    """Give an agent one more client secret; the others go on working. It is shown this once."""
    return answer(new_credential_view(await credentials.add_credential(context, body.to_command(ref))), status=201)


@router.delete(
    "/credentials/{credential_id}", tags=["credentials"], response_model=CredentialView, responses=problems(404)
)
async def revoke_credential(context: Context, ref: Ref, credential_id: str) -> Response:
    """Revoke a credential for ever. Revoking it again changes nothing."""
    command = credentials.RevokeCredential(ref=ref, credential_id=credential_id)
    return answer(credential_view(await credentials.revoke_credential(context, command)))


@router.post(
    "/credentials/{credential_id}/rotate",
    tags=["credentials"],
    status_code=201,
    response_model=RotatedCredentialView,
    responses=problems(404, 409, 413, 415, 422),
)
async def rotate_credential(context: Context, ref: Ref, credential_id: str, body: Rotation) -> Response:
    """Give an agent a credential in place of this one, which goes on for the overlap. A secret is shown this once."""
    return answer(rotation_view(await rotate(context, body.to_command(ref, credential_id))), status=201)


@router.get("/permissions", tags=["permissions"], response_model=PermissionList, responses=problems(404))
async def list_permissions(context: Context, ref: Ref) -> Response:
    """List an agent's permissions."""
    listed = await permissions.list_permissions(context, permissions.ListPermissions(ref=ref))
    return answer(PermissionList(items=[permission_view(one) for one in listed]))


@router.post(
    "/permissions",
    tags=["permissions"],
    status_code=201,
    response_model=PermissionView,
    responses=problems(404, 409, 413, 415, 422),
)
async def grant_permission(context: Context, ref: Ref, body: NewPermission) -> Response:
    """Permit an agent some scopes of a resource, from its next token on."""
    command = permissions.GrantPermission(ref=ref, grant=body.to_grant())
    return answer(permission_view(await permissions.grant_permission(context, command)), status=201)


@router.delete(
    "/permissions/{permission_id}",
    tags=["permissions"],
    status_code=204,
    response_class=Response,
    responses=problems(404),
)
async def revoke_permission(context: Context, ref: Ref, permission_id: str) -> Response:
    """Take a permission away, from the agent's next token on."""
    await permissions.revoke_permission(context, permissions.RevokePermission(ref=ref, permission_id=permission_id))
    return Response(status_code=204)
