package io.blockwharf.api.qmp;

/** No arguments; an empty return value. */
public record Nothing() {
    /** The one value. */
    public static final Nothing NOTHING = new Nothing();
}
