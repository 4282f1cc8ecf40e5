package io.blockwharf.nbd.client;

import java.io.IOException;

/** The server does not give what is wanted, or is not what is wanted. */
final class Refusal extends IOException {
    private static final long serialVersionUID = 1;

    private final String hint;

    /** A reason in a sentence, and what else a person may want to know, or nothing. */
    Refusal(String message, String hint) {
        super(message);
        this.hint = hint;
    }

    /** Advice, and what the server has said; empty if there is none. */
    String hint() {
        return hint;
    }
}
