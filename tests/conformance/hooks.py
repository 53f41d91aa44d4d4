"""What JSON Schema cannot say of the API's strings."""

import schemathesis
from hypothesis import strategies as st

# JSON Schema counts characters, a password is limited in bytes.
passwords = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=256)
schemathesis.openapi.format("password", passwords)
