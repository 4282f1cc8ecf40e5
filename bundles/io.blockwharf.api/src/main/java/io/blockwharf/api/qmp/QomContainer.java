package io.blockwharf.api.qmp;

import org.osgi.annotation.versioning.ConsumerType;

import java.util.Map;
import java.util.SequencedMap;

/**
 * A folder at the root of QEMU's object model ({@code qom-list}) that a bundle fills, for example
 * {@code /chardevs}. A service; called with core's control lock held.
 */
@ConsumerType
public interface QomContainer {
    /** The folder's name, without slashes. */
    String name();

    /** What is in it: names, and of which type they are. */
    SequencedMap<String, String> children();

    /**
     * The types of what can be in it, each with the type that it extends, down to {@code object}.
     */
    Map<String, String> types();
}
