/**
 * The virtio-blk device, VIRTIO 1.3 section 5.2: its configuration space and the execution of its
 * requests against a block node, for every transport that brings virtqueues.
 */
@Export
@Version("1.0.0")
package io.blockwharf.virtio.blk;

import org.osgi.annotation.bundle.Export;
import org.osgi.annotation.versioning.Version;
