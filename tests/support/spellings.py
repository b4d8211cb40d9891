"""What an address must not take for a number, as it stands in a path."""

# Forms of 201 and of 1 that a parser of numbers may know, digits of other scripts, and more than a bigint.
NO_NUMBERS = (
    *(
        "201.0",
        "2.01e2",
        "1e0",
        "1E0",
        "1.",
        "0201",
        "01",
        "0",
        "-0",
        "-1",
        "%2B1",
        "+1",
        "%201",
        "1%20",
        "1%0A",
    ),
    *("0x1", "0b1", "1_0", "2_01", "1,0", "%D9%A1", "%EF%BC%91", "%C2%B9", "null", "true", "NaN", "Infinity"),
    *("9223372036854775808", "1" + "0" * 19, "9" * 4000, "0" * 4000 + "1"),
)
