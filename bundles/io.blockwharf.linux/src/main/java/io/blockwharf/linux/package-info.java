/**
 * What the JDK does not offer of Linux, as nouns: descriptors, sockets, event loops, files, rings,
 * mappings, mounts. The only user of JNA and of the JDK's foreign functions; imports nothing of
 * ours.
 *
 * <p>Every noun is a final class that owns what it opens: take it with {@code try}. Failures are
 * {@link io.blockwharf.linux.LinuxException}s; what is expected on a hot path is a value. Native
 * memory is passed as {@link java.lang.foreign.MemorySegment}: it must be native and alive until
 * the call returns, which only its owner can see to. A call that blocks occupies a platform thread
 * and pins the carrier of a virtual one.
 */
@Export
@Version("1.0.0")
package io.blockwharf.linux;

import org.osgi.annotation.bundle.Export;
import org.osgi.annotation.versioning.Version;
