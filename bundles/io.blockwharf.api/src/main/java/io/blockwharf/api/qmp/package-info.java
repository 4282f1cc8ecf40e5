/**
 * The control plane: QMP commands, events and objects.
 *
 * <p>QAPI types are Java records. A record's components are the members of a QAPI struct, in order;
 * {@code nodeName} is {@code node-name} on the wire. Optional members are {@link
 * java.util.Optional}; enums, lists, nested records, {@link io.blockwharf.api.qmp.Alternate
 * alternates} and sealed interfaces of records (flat unions with the discriminator {@code type})
 * may be nested at will. From these types core derives the strict check of arguments, with the
 * messages of QEMU, and {@code query-qmp-schema}; nothing is said twice. A compact constructor that
 * throws {@link java.lang.IllegalArgumentException} makes its message the command's error.
 */
@Export
@Version("1.0.0")
package io.blockwharf.api.qmp;

import org.osgi.annotation.bundle.Export;
import org.osgi.annotation.versioning.Version;
