package io.blockwharf.qmp;

import java.util.List;
import java.util.Locale;
import java.util.stream.Stream;

/** QAPI {@code QMPCapability}: what a client can ask for in the negotiation. */
public enum Capability {
    /** Commands can be sent with {@code exec-oob}; qmp-spec, "Out-of-band execution". */
    OOB;

    static List<String> names() {
        return Stream.of(values())
                .map(capability -> capability.name().toLowerCase(Locale.ROOT))
                .toList();
    }
}
