/** Trace events: what the daemon does, for whoever looks for the cause of something. */
@Export
@Version("1.0.0")
package io.blockwharf.api.trace;

import org.osgi.annotation.bundle.Export;
import org.osgi.annotation.versioning.Version;
