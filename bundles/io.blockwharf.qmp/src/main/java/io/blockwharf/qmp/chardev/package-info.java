/** Character devices: the byte streams that monitors are attached to. */
package io.blockwharf.qmp.chardev;
