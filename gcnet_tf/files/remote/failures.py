"""Errors of object stores: those that pass, and sentences about the others."""

from gcnet_tf.errors import UserError, first_line

# The classes of packages that may not be installed, by their names.
_NO_CREDENTIALS = {
    "NoCredentialsError",
    "PartialCredentialsError",
    "ProfileNotFound",
    "CredentialRetrievalError",
    "TokenRetrievalError",
    "SSOTokenLoadError",
    "UnauthorizedSSOTokenError",
    "DefaultCredentialsError",
    "RefreshError",
}
_CREDENTIAL_TEXTS = (
    "Anonymous caller",
    "Invalid Credentials",
    "InvalidAccessKeyId",
    "AWS Access Key Id",
    "SignatureDoesNotMatch",
    "signature we calculated",
    "ExpiredToken",
    "token has expired",
)
# Said of what another attempt cannot change.
_LASTING = (
    FileNotFoundError,
    FileExistsError,
    PermissionError,
    NotImplementedError,
    IsADirectoryError,
    NotADirectoryError,
)
_LASTING_NAMES = _NO_CREDENTIALS | {
    "ParamValidationError",
    "NonRetryableError",
    "InvalidRegionError",
    "UnknownEndpointError",
}


class RemoteError(UserError):
    """An object store could not be used; what it holds is as it was."""


class NotThere(RemoteError):
    """There is no such object or bucket."""


class Incomplete(OSError):
    """Fewer or other bytes came than the store says it has."""


def passes(error: Exception) -> bool:
    """Tells whether the same request may succeed a little later."""
    return not any(
        isinstance(cause, _LASTING)
        or type(cause).__name__ in _LASTING_NAMES
        or _lacks_credentials(cause)
        or 400 <= _status(cause) < 500
        and _status(cause) not in (408, 425, 429)
        for cause in _causes(error)
    )


def explained(error: Exception, address: str, bucket_is_there: bool) -> RemoteError:
    """Makes the sentence about an error.

    Args:
        error: the last one.
        address: what was asked for.
        bucket_is_there: False when the bucket is known to be missing.
    """
    bucket = "/".join(address.split("/")[:3])
    if any(map(_lacks_credentials, _causes(error))):
        return RemoteError(
            f"{address}: the store takes no request without valid credentials "
            f"({first_line(error)}). Set them where its own programs find them: "
            f"{_credentials_of(address)}."
        )
    if not bucket_is_there:
        return NotThere(
            f"{address}: there is no bucket {bucket}. Make it first, or check the name."
        )
    if isinstance(error, FileNotFoundError):
        return NotThere(f"{address}: there is no such object.")
    if isinstance(error, PermissionError) or 403 in map(_status, _causes(error)):
        return RemoteError(
            f"{address}: the store refuses this ({first_line(error)}). Ask for the "
            f"right to read, write, list and delete in {bucket}."
        )
    return RemoteError(
        f"{address}: the store could not be reached, or failed, at several attempts "
        f"({type(error).__name__}: {first_line(error)}). Nothing that it had is lost; "
        "check the network and run again."
    )


def _lacks_credentials(error: BaseException) -> bool:
    text = str(error)
    return type(error).__name__ in _NO_CREDENTIALS or any(
        part in text for part in _CREDENTIAL_TEXTS
    )


def _credentials_of(address: str) -> str:
    if address.startswith("s3"):
        return "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or ~/.aws/credentials"
    if address.startswith(("gs", "gcs")):
        return (
            "GOOGLE_APPLICATION_CREDENTIALS, or gcloud auth application-default login"
        )
    return "see the fsspec package of this scheme"


def _status(error: BaseException) -> int:
    """Returns the HTTP status of an error; 0 where it has none."""
    if type(error).__module__ == "aiohttp.http_exceptions":
        return 0  # an answer that was cut or garbled, which it gives the code 400
    for name in ("code", "status"):
        if isinstance(value := getattr(error, name, None), int):
            return value
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        metadata = response.get("ResponseMetadata", {})
        return int(metadata.get("HTTPStatusCode", 0))
    return 0


def _causes(error: BaseException | None) -> list[BaseException]:
    causes: list[BaseException] = []
    # An error of ours is what the caller was dealing with, and no cause.
    while (
        error is not None and error not in causes and not isinstance(error, UserError)
    ):
        causes.append(error)
        error = error.__cause__ or error.__context__
    return causes
