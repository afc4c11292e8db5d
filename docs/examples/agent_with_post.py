"""agent.py with its login spelt out, and the secret sent in the body of the token request instead of a header."""

import os
import sys

import httpx2

import watchword


def main(scope: str, method: str, url: str) -> int:
    login = watchword.Login(
        issuer=os.environ["ISSUER"],
        client=watchword.ClientSecretPost(os.environ["CLIENT_ID"], os.environ["CLIENT_SECRET"]),
        scope=scope,
        resource="my-api",
    )
    try:
        with httpx2.Client(auth=login.auth()) as client:
            response = client.request(method, url)
    except watchword.LoginError as error:
        print("no token:", error)
        return 1
    print(response.status_code, response.headers.get("www-authenticate") or response.text)
    return 0 if response.is_success else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
