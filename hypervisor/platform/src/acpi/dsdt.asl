// What dsdt.rs builds, for a reader and for the test beside it, which compares with dsdt.aml:
//     iasl -p dsdt dsdt.asl
DefinitionBlock ("", "DSDT", 2, "BULKHD", "BULKHEAD", 1)
{
    Name (_S5, Package () { 5, 0, 0, 0 })

    Device (_SB.COM1)
    {
        Name (_HID, EisaId ("PNP0501"))
        Name (_UID, 0)
        Name (_CRS, ResourceTemplate ()
        {
            IO (Decode16, 0x03F8, 0x03F8, 1, 8)
            Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) { 4 }
        })
    }

    Device (_SB.RTC)
    {
        Name (_HID, EisaId ("PNP0B00"))
        Name (_CRS, ResourceTemplate ()
        {
            IO (Decode16, 0x0070, 0x0070, 1, 2)
        })
    }
}
