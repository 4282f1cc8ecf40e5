/**
 * Block nodes: what exports read and write, and what image and protocol drivers implement.
 *
 * <pre>
 *   export or parent node ──BlockNode (a handle with permissions)──► core's graph ──BlockImage──► driver
 * </pre>
 *
 * A {@link io.blockwharf.api.block.BlockDriver} service opens a {@link
 * io.blockwharf.api.block.BlockImage}; core wraps it in the graph and hands {@link
 * io.blockwharf.api.block.BlockNode} handles to its users. Both sides speak {@link
 * io.blockwharf.api.block.BlockIo}: synchronous calls, calls that never block, and {@link
 * io.blockwharf.api.block.BlockQueue}s for what would.
 */
@Export
@Version("1.0.0")
package io.blockwharf.api.block;

import org.osgi.annotation.bundle.Export;
import org.osgi.annotation.versioning.Version;
