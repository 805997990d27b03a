"""The page says of each method of the stock client what came of calling it here."""

import os

from tritonclient.http import InferenceServerClient

from tests.support import oip_page


def test_each_public_method_of_the_stock_client_does_what_the_page_says(triton: InferenceServerClient) -> None:
    found = dict(oip_page.outcomes(triton, "rows"))

    assert found.keys() == oip_page.public_methods()
    assert found["infer"] == "works"
    text = oip_page.PAGE.read_text()
    if os.environ.get(oip_page.WRITE):
        oip_page.PAGE.write_text(oip_page.made(text, found))
    assert oip_page.PAGE.read_text() == oip_page.made(text, found), oip_page.COMMAND
