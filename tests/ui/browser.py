"""What tests of pages say: look at a page, fill in one of its forms, send it."""

import re
from html.parser import HTMLParser
from urllib.parse import urlencode

import httpx2

ORIGIN = "https://hub.example.com"


class Form:
    """A form of a page, with what its fields say."""

    def __init__(self, action: str, method: str) -> None:
        self.action, self.method = action, method
        self.fields: list[tuple[str, str]] = []


class Look(HTMLParser):
    """A page as a program sees it."""

    def __init__(self, response: httpx2.Response) -> None:
        super().__init__()
        self.status, self.html, self.url = response.status_code, response.text, response.url
        self.response = response
        self.forms: list[Form] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self._select = self._textarea = ""
        self._options: list[tuple[str, bool]] = []
        self.feed(self.html)
        self.text = re.sub(r"\s+", " ", self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        got = {name: value or "" for name, value in attrs}
        self.tags.append((tag, got))
        if tag == "form":
            self.forms.append(Form(got.get("action", ""), got.get("method", "get")))
        elif tag == "select":
            self._select = got.get("name", "")
        elif tag == "option" and self._select:
            self._options.append((got["value"], "selected" in got))
        elif tag == "textarea":
            self._textarea = got.get("name", "")
            self.forms[-1].fields.append((self._textarea, ""))
        elif (
            tag == "input"
            and "name" in got
            and self.forms
            and (got.get("type") not in ("checkbox", "radio") or "checked" in got)
        ):
            self.forms[-1].fields.append((got["name"], got.get("value", "")))

    def handle_endtag(self, tag: str) -> None:
        if tag == "select":
            chosen = [value for value, is_chosen in self._options if is_chosen]
            first = [value for value, _ in self._options[:1]]
            self.forms[-1].fields += [(self._select, value) for value in (chosen or first)]
            self._select, self._options = "", []
        if tag == "textarea":
            self._textarea = ""

    def handle_data(self, data: str) -> None:
        if self._textarea:
            name, before = self.forms[-1].fields[-1]
            self.forms[-1].fields[-1] = (name, before + data)
        self.text += f" {data}"

    def form(self, action: str) -> Form:
        """Return the one form whose action ends like this."""
        (found,) = [form for form in self.forms if form.action.endswith(action)]
        return found

    def links(self) -> list[str]:
        """Return where its links lead."""
        return [got["href"] for tag, got in self.tags if tag == "a" and "href" in got]


class Browser:
    """Keeps cookies; follows redirects."""

    def __init__(self, http: httpx2.AsyncClient) -> None:
        self.http = http

    async def look(self, path: str, *, status: int = 200) -> Look:
        """Open a page."""
        seen = Look(await self.http.get(path, follow_redirects=True))
        assert seen.status == status, f"{path}: {seen.status} {seen.text[:2000]}"
        return seen

    async def submit(
        self, seen: Look, action: str, *, status: int = 200, **fields: str | list[str]
    ) -> Look:
        """Send a form of a page with some fields changed."""
        form = seen.form(action)
        pairs = [(name, value) for name, value in form.fields if name not in fields]
        for name, value in fields.items():
            pairs += [(name, one) for one in ([value] if isinstance(value, str) else value)]
        return await self.post(form.action or str(seen.url), pairs, status=status)

    async def post(self, path: str, pairs: list[tuple[str, str]], *, status: int = 200) -> Look:
        """Send a form's fields, as a browser would from one of our pages."""
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Origin": ORIGIN,
            "Sec-Fetch-Site": "same-origin",
        }
        response = await self.http.post(
            path, content=urlencode(pairs), headers=headers, follow_redirects=True
        )
        got = Look(response)
        assert got.status == status, f"{path}: {got.status} {got.text[:2000]}"
        return got

    async def log_in(self, username: str, password: str) -> Look:
        """Log in on the page for it."""
        page = await self.look("/ui/login")
        return await self.submit(page, "/ui/login", username=username, password=password)
