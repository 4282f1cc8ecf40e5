/**
 * QAPI types derived from Java records: {@link io.blockwharf.core.qapi.Binder} turns JSON values
 * into checked records, {@link io.blockwharf.core.qapi.Json} turns records into JSON values, {@link
 * io.blockwharf.core.qapi.Schema} describes the types to clients. All three read the same {@link
 * io.blockwharf.core.qapi.QapiType}, so that a record is the only place where a type stands. QEMU,
 * "How to use the QAPI code generator".
 */
package io.blockwharf.core.qapi;
