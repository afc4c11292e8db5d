"""An agent at work: it logs in, and calls an API. Who it is stands in its environment, not in its code.

    WATCHWORD_ISSUER=https://login.example.com WATCHWORD_CLIENT_ID=... WATCHWORD_CLIENT_SECRET=... \
        python docs/examples/agent.py read:data GET https://api.example.com/note
"""

import sys

import httpx2

import watchword


def main(scope: str, method: str, url: str) -> int:
    login = watchword.default(scope=scope, resource="my-api")
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
