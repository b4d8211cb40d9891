"""The pages of the NOC as tests look at them: each of them, and the sizes of a phone, a desk and a wall."""

PAGES = (
    "/",
    "/routers",
    "/routers?state=silent",
    "/routers/12",
    "/routers/60",
    "/sites",
    "/sessions",
    "/user?name=user5",
    "/quotas",
    "/pipeline",
    "/alerts",
    "/doctor",
    "/search?q=user",
    "/search",
    "/routers/9999",
)
SIZES = ((360, 800), (1280, 900), (3840, 2160))
