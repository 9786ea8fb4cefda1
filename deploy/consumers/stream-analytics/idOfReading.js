// The user-defined function `idOfReading` of the query; output type nvarchar(max). A document id may not hold / \ ? #.
function main(location, tags, first, second, third) {
    return encodeURIComponent(JSON.stringify([location, tags, first, second, third]));
}
